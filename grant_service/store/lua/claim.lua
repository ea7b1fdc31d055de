-- claim.lua: give a duty to one compensator for the length of a lease. Each claim is an attempt.
-- KEYS  as in _about.lua, then jobs, and the path as in _path.lua
-- ARGV  as in _lease.lua, then worker, lease_ms, max attempts; the path as in _path.lua
-- ANSWERS  CLAIMED replayed left_ms duty... | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local WORKER, LEASE_MS, MAX_ATTEMPTS = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local JOBS = KEYS[RUNS_AT - 1]

-- Why a duty cannot be claimed yet.
local function why_not_due(action, duty)
  if duty.due ~= NEVER and NOW < tonumber(duty.due) then return 'it is not due yet' end
  if KIND == 'UNDO' then
    if duty.epoch ~= EPOCH then return 'the store may have lost facts since: ask for the undo again' end
    if action.state ~= 'SUCCEEDED' then return 'its outcome is not known yet' end
    local last = redis.call('ZREVRANGEBYSCORE', LISTS.UNDO, '+inf', '-inf', 'LIMIT', '0', '1')
    if last[1] ~= OP then return 'a later effect is undone first' end
  end
end

local unsure = clock_unsure()
if unsure then return unsure end
local action, duty = find_duty()
if not action then return duty end
local refusal = not_open(duty)
if refusal then return refusal end
local ms_left = tonumber(duty.lease_until) - NOW
if ms_left > 0 then
  if duty.lease ~= LEASE then return refuse_duty('DUTY_TAKEN', { worker = duty.worker, left_ms = text(ms_left) }) end
  return answer('CLAIMED', '1', text(ms_left), unpack(flatten(duty)))
end
if KIND == 'CALL_OFF' then
  local there, other_path = find_run()
  if other_path then return other_path end
  if not was_cut_off(there) then
    if duty.due ~= NEVER then -- its time was over when this was made due, and then it finished after all
      redis.call('ZADD', JOBS, '0', waits_as(table.concat(PATH, ','), WHICH))
      unlist(WHICH)
      redis.call('HSET', DUTIES[WHICH], 'due', NEVER)
    end
    return refuse_duty('DUTY_NOT_DUE', { rule = 'its run was not stopped' })
  end
end
local attempts = tonumber(duty.attempts)
if attempts >= MAX_ATTEMPTS then return over(duty, 'the last attempt was never heard of again') end
refusal = too_late(duty)
if refusal then return refusal end
local rule = why_not_due(action, duty)
if rule then return refuse_duty('DUTY_NOT_DUE', { rule = rule }) end

local claim = {
  attempts = text(attempts + 1), worker = WORKER, lease = LEASE, lease_until = lease_end(duty, LEASE_MS),
  failed_lease = duty.failed_lease ~= LEASE and duty.failed_lease or '',
}
append(JOURNAL, 'CLAIMED', 'op', OP, 'duty', KIND, 'worker', WORKER, 'attempt', claim.attempts, 'handle',
  duty.handle)
redis.call('HSET', DUTIES[WHICH], unpack(flatten(claim)))
for name, value in pairs(claim) do duty[name] = value end
return answer('CLAIMED', '0', text(tonumber(duty.lease_until) - NOW), unpack(flatten(duty)))
