-- abandon.lua: give up an action that was never permitted. What was held for it is free again.
-- KEYS  as in _tool.lua, then awaiting
-- ARGV  as in _tool.lua, then note
-- ANSWERS  ABANDONED replayed seq remaining | REFUSED reason details... | UNFIT

local AWAITING, NOTE = KEYS[REST], ARGV[9]

local action, grant = own_action()
if not action then return grant end
local state = action.state
if state == 'ABANDONED' then
  find_budgets(grant)
  return answer('ABANDONED', '1', redis.call('HGET', ACTION, 'settle_seq'), remaining())
end
if state == 'PERMITTED' then return refuse('ALREADY_PERMITTED', action) end
if settled(state) then return refuse('ALREADY_SETTLED', action, { state = state }) end
if state == 'DENIED' then return denied(action, 'a person said no') end

find_budgets(grant)
local costs = #OWNERS > 0 and redis.call('HGET', ACTION, 'costs')

local number = append(JOURNAL, 'ABANDONED', 'op', OP, 'note', NOTE)
if costs then
  let_go(costs, tonumber(action.expire_time))
  write_budgets()
end
redis.call('HSET', ACTION, 'state', 'ABANDONED', 'settle_seq', number)
if state == 'AWAITING_APPROVAL' then redis.call('ZREM', AWAITING, RUN_ID .. '/' .. OP) end
return answer('ABANDONED', '0', number, remaining())
