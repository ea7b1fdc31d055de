-- resolve.lua: record what became of an action nobody settled. While its permit can be used, nobody can know. An action
-- without a permit on record had none, unless the store may have lost it: then it can be resolved once that would be over.
-- KEYS  as in _about.lua, then awaiting, and the path as in _path.lua
-- ARGV  as in _about.lua, then outcome (SUCCEEDED | FAILED), actor, evidence; the path as in _path.lua
-- ANSWERS  RESOLVED replayed seq state | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local OUTCOME, ACTOR, EVIDENCE = unpack(ARGV, 4, 6)

local action = read(ACTION)
if not action then return unknown_action() end
local state, use_by = action.state, tonumber(action.use_by)
if state == 'SUCCEEDED' or state == 'FAILED' then
  if state ~= OUTCOME then return refused('ALREADY_SETTLED', { run = RUN_ID, op = OP, state = state }) end
  return answer('RESOLVED', '1', action.settle_seq, state)
end
if state == 'PREPARED' or state == 'AWAITING_APPROVAL' then
  local there, other_path = find_run()
  if other_path then return other_path end
  if not may_lack_entries(there) then
    return refused('NEVER_PERMITTED', { run = RUN_ID, op = OP, state = state })
  end
  use_by = tonumber(action.expire_time) + RECENT_MS -- no grant, and so no permit, lasts longer from any moment on
elseif state ~= 'PERMITTED' and state ~= 'UNKNOWN' then
  return refused('NEVER_PERMITTED', { run = RUN_ID, op = OP, state = state })
end
if state ~= 'UNKNOWN' and NOW < use_by then
  return refused('IN_FLIGHT', { run = RUN_ID, op = OP, left_ms = text(use_by - NOW) })
end

local number = put_resolved(action, OUTCOME, ACTOR, EVIDENCE, moot_by(OUTCOME, action))
if state == 'AWAITING_APPROVAL' then redis.call('ZREM', KEYS[RUNS_AT - 1], RUN_ID .. '/' .. OP) end
return answer('RESOLVED', '0', number, OUTCOME)
