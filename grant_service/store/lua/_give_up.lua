-- What claim and fail share: giving up.

local GIVEN_UP = { UNDO = { 'UNDO_FAILED', '' }, CALL_OFF = { 'CALLED_OFF', 'UNREACHABLE' }, ASK = { 'UNANSWERED', '' } }

-- Write that a duty is not tried again, and answer the number of its line. Its lease stays: whoever had it may yet say
-- that it is done.
local function give_up(duty, note)
  local word, outcome = unpack(GIVEN_UP[KIND])
  local number = append(JOURNAL, word, 'op', OP, 'worker', duty.worker, 'note', note, 'outcome', outcome)
  end_duty(KIND, 'state', 'FAILED', 'seq', number)
  return number
end
