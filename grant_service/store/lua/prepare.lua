-- prepare.lua: record an intended action, if it could be committed now.
-- KEYS  as in _action.lua
-- ARGV  as in _action.lua and _prepare.lua, then ttl_ms (how long it can be committed)
-- ANSWERS  PREPARED replayed seq expire_time | REFUSED reason details... | UNFIT

local TTL_MS = tonumber(ARGV[14])

local grant, refusal = authority(INTENT, nil)
if not grant then return refusal end

local action = read(ACTION)
if action then
  refusal = not_same(action) or not_open(action)
  if refusal then return refusal end
  return answer('PREPARED', '1', action.prepare_seq, action.expire_time)
end

local scope, more = may_prepare(grant)
if not scope then return more end

action = put_prepared(grant, scope, more, TTL_MS)
return answer('PREPARED', '0', action.prepare_seq, action.expire_time)
