-- settle.lua: record what became of a permitted action; information, so neither expiry nor a cancel refuses it.
-- KEYS  as in _tool.lua
-- ARGV  as in _tool.lua, then outcome (SUCCEEDED | FAILED | UNKNOWN), receipt, note
-- ANSWERS  SETTLED replayed seq state after_cut remaining | REFUSED reason details... | UNFIT

local OUTCOME, RECEIPT, NOTE = unpack(ARGV, 9, 11)

local action, grant = own_action()
if not action then return grant end
local after_cut = ended(PATH, RUNS_AT, RUN_ID) and '1' or '0'
local state = action.state
if settled(state) and state == OUTCOME then
  find_budgets(grant)
  return answer('SETTLED', '1', redis.call('HGET', ACTION, 'settle_seq'), state, after_cut, remaining())
end
if state == 'SUCCEEDED' or state == 'FAILED' then return refuse('ALREADY_SETTLED', action, { state = state }) end
if state ~= 'PERMITTED' and state ~= 'UNKNOWN' then return refuse('NEVER_PERMITTED', action, { state = state }) end

find_budgets(grant)
local number = append(JOURNAL, 'SETTLED', 'op', OP, 'outcome', OUTCOME, 'receipt', RECEIPT, 'note', NOTE)
redis.call('HSET', ACTION, 'state', OUTCOME, 'settle_seq', number)
return answer('SETTLED', '0', number, OUTCOME, after_cut, remaining())
