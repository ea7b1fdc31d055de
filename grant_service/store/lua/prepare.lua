-- prepare.lua: record an intended action, if it could be committed now, or once a person has agreed.
-- KEYS  as in _prepare.lua
-- ARGV  as in _prepare.lua, then ttl_ms (how long it can be committed)
-- ANSWERS  PREPARED replayed seq expire_time undo_until state remaining approval... | REFUSED reason details... | UNFIT

local TTL_MS = tonumber(ARGV[21])

local grant, refusal = authority(INTENT, nil)
if not grant then return refusal end
open_budgets()

local action = read_action()
if action then
  refusal = not_same(action) or not_open(action)
  if refusal then return refusal end
  local told = read(ACTION)
  local said = told.said_seq == '0' and {} or flatten(told)
  return answer('PREPARED', '1', told.prepare_seq, told.expire_time, told.undo_until, told.state, remaining(), unpack(said))
end

local place, waits, keep_until = may_prepare(grant)
if not place then return waits end

action = put_prepared(grant, place, waits, keep_until, waits and WAIT_MS or TTL_MS, false)
return answer('PREPARED', '0', action.prepare_seq, action.expire_time, action.undo_until, action.state, remaining())
