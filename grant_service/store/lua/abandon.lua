-- abandon.lua: give up an action that was never permitted. What was held for it is free again.
-- KEYS  as in _tool.lua, then awaiting
-- ARGV  as in _tool.lua, then note
-- ANSWERS  ABANDONED replayed seq | REFUSED reason details... | UNFIT

local AWAITING, NOTE = KEYS[REST], ARGV[9]

local action, grant = own_action()
if not action then return grant end
local state = action.state
if state == 'ABANDONED' then return answer('ABANDONED', '1', redis.call('HGET', ACTION, 'settle_seq')) end
if state == 'PERMITTED' then return refuse('ALREADY_PERMITTED', action) end
if settled(state) then return refuse('ALREADY_SETTLED', action, { state = state }) end
if state == 'DENIED' then return denied(action, 'a person said no') end

-- Whatever of the path and the chain is still there; what is gone holds nothing.
for i, link in ipairs(PATH) do
  local key = KEYS[RUNS_AT + i - 1]
  local budgets = redis.call('HGET', key, 'budgets') or ''
  if budgets ~= '' then OWNERS[#OWNERS + 1] = { kind = 'run', id = link, key = key, text = budgets } end
end
for i = 1, #LINKS do
  local one = i == #LINKS and grant or grant_above(i)
  if one then add_owner(i, one) end
end
local costs = #OWNERS > 0 and redis.call('HGET', ACTION, 'costs')

local number = append(JOURNAL, 'ABANDONED', 'op', OP, 'note', NOTE)
if costs then
  open_budgets()
  let_go(costs, tonumber(action.expire_time))
  write_budgets()
end
redis.call('HSET', ACTION, 'state', 'ABANDONED', 'settle_seq', number)
if state == 'AWAITING_APPROVAL' then redis.call('ZREM', AWAITING, RUN_ID .. '/' .. OP) end
return answer('ABANDONED', '0', number)
