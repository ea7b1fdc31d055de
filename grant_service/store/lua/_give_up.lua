-- What claim, renew and fail share: giving up.

local GIVEN_UP = { UNDO = { 'UNDO_FAILED', '' }, CALL_OFF = { 'CALLED_OFF', 'UNREACHABLE' }, ASK = { 'UNANSWERED', '' } }

-- Write that a duty is not tried again, and answer the number of its line. Whoever had it last may yet say that it is
-- done; `failed_lease` names the claim if it was said to have failed.
local function give_up(duty, note, failed_lease)
  local word, outcome = unpack(GIVEN_UP[KIND])
  local number = append(JOURNAL, word, 'op', OP, 'worker', duty.worker, 'note', note, 'outcome', outcome,
    'handle', duty.handle)
  end_duty(WHICH, 'state', 'FAILED', 'seq', number, 'lease_until', '0', 'failed_lease', failed_lease or duty.failed_lease,
    'failed_seq', failed_lease and number or duty.failed_seq)
  return number
end

-- Refuse a duty that cannot be tried any more, and give it up.
local function over(duty, note)
  give_up(duty, note)
  return refuse_duty('DUTY_OVER', { state = 'FAILED' })
end

-- Refuse a duty whose time is over.
local function too_late(duty)
  if NOW >= tonumber(duty['until']) then return over(duty, 'its time is over') end
end

-- Until when a lease from now on lasts: never beyond the duty's own time.
local function lease_end(duty, lease_ms)
  return text(math.min(NOW + lease_ms, tonumber(duty['until'])))
end
