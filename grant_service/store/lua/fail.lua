-- fail.lua: record that an attempt did not work; after the last one the duty stays visible as failed. Whoever says it
-- again, because the answer was lost, is answered the same.
-- KEYS  as in _about.lua
-- ARGV  as in _lease.lua, then retry_ms (how long until the next attempt, doubled each time), max attempts, note, final
--       ('1' if no further attempt will work, else '')
-- ANSWERS  FAILED replayed seq state due | REFUSED reason details... | UNFIT

local RETRY_MS, MAX_ATTEMPTS, NOTE, FINAL = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]

local action, duty = find_duty()
if not action then return duty end
if duty.failed_lease == LEASE then
  if duty.lease == LEASE then return answer('FAILED', '1', duty.failed_seq, 'FAILED', '0') end
  return answer('FAILED', '1', duty.failed_seq, 'OPEN', duty.due)
end
local refusal = lost(duty) or not_open(duty)
if refusal then return refusal end
local attempts = tonumber(duty.attempts)
if FINAL ~= '' or attempts >= MAX_ATTEMPTS then
  return answer('FAILED', '0', give_up(duty, NOTE, LEASE), 'FAILED', '0')
end

local due = text(NOW + RETRY_MS * 2 ^ math.min(math.max(0, attempts - 1), MOST_DOUBLINGS))
local number = append(JOURNAL, 'TRIED', 'op', OP, 'duty', KIND, 'worker', duty.worker, 'note', NOTE, 'due', due,
  'handle', duty.handle)
if KIND ~= 'UNDO' then redis.call('ZADD', LISTS[KIND], due, listed_as(WHICH)) end
redis.call('HSET', DUTIES[WHICH], 'due', due, 'worker', '', 'lease', '', 'lease_until', '0', 'failed_lease', LEASE,
  'failed_seq', number)
return answer('FAILED', '0', number, 'OPEN', due)
