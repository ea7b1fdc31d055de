-- spend.lua: take an amount for what is no action.
-- KEYS  as in _tool.lua and _exhaust.lua
-- ARGV  as in _tool.lua, then budget, amount, incurred ('1' if it was used up already, whatever is left, else ''), max
--       spendings of the run
-- ANSWERS  SPENT replayed seq remaining | REFUSED reason details... | UNFIT

local BUDGET, AMOUNT, INCURRED, MAX_SPENDINGS = unpack(ARGV, 9, 12)

ASKED.budget, ASKED.amount, ASKED.incurred = BUDGET, AMOUNT, INCURRED

local grant, refusal = authority(nil, nil)
if not grant then return refusal end
open_budgets()

local existing = read(RECORD)
if existing then
  local asked = { grant = GRANT_ID, budget = BUDGET, amount = AMOUNT, incurred = INCURRED }
  for name, value in pairs(asked) do
    if existing[name] ~= value then return refuse('OP_ID_CONFLICT') end
  end
  return answer('SPENT', '1', existing.seq, remaining())
end
if NOW >= tonumber(grant.expire_time) then return refuse('GRANT_EXPIRED') end
local run = redis.call('HMGET', RUN, 'spendings', 'keep_until')
if tonumber(run[1]) >= tonumber(MAX_SPENDINGS) then return refuse('RUN_FULL', nil, { limit = MAX_SPENDINGS }) end
local wanted = { [BUDGET] = tonumber(AMOUNT) }
local short = short_of(wanted)
if short[1] and INCURRED == '' then return run_out(short[1]) end

local number = append(JOURNAL, 'SPENT', 'op', OP, 'grant', GRANT_ID, 'budget', BUDGET, 'amount', AMOUNT,
  'incurred', INCURRED)
take(wanted)
write_budgets()
redis.call('HSET', RECORD, 'run', RUN_ID, 'grant', GRANT_ID, 'op', OP, 'budget', BUDGET, 'amount', AMOUNT,
  'incurred', INCURRED, 'seq', number)
redis.call('PEXPIREAT', RECORD, run[2])
redis.call('HINCRBY', RUN, 'spendings', 1)
for _, one in ipairs(short) do
  if one.ends then end_owner(one.owner, one.budget) end
end
return answer('SPENT', '0', number, remaining())
