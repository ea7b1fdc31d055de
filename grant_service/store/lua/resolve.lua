-- resolve.lua: record what became of an action nobody settled. While its permit can be used, nobody can know.
-- KEYS  as in _about.lua
-- ARGV  as in _about.lua, then outcome (SUCCEEDED | FAILED), actor, evidence
-- ANSWERS  RESOLVED replayed seq state | REFUSED reason details... | UNFIT

local OUTCOME, ACTOR, EVIDENCE = unpack(ARGV, 4, 6)

local action = read(ACTION)
if not action then return unknown_action() end
local state, use_by = action.state, tonumber(action.use_by)
if state == 'SUCCEEDED' or state == 'FAILED' then
  if state ~= OUTCOME then return refused('ALREADY_SETTLED', { run = RUN_ID, op = OP, state = state }) end
  return answer('RESOLVED', '1', action.settle_seq, state)
end
if state == 'PERMITTED' and NOW < use_by then
  return refused('IN_FLIGHT', { run = RUN_ID, op = OP, left_ms = text(use_by - NOW) })
end
if state ~= 'PERMITTED' and state ~= 'UNKNOWN' then
  return refused('NEVER_PERMITTED', { run = RUN_ID, op = OP, state = state })
end

return answer('RESOLVED', '0', put_resolved(OUTCOME, ACTOR, EVIDENCE, moot_by(OUTCOME, action)), OUTCOME)
