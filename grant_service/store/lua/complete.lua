-- complete.lua: record that a duty is carried out. From whoever holds it that is information, and never refused.
-- KEYS  as in _about.lua
-- ARGV  as in _lease.lua, then outcome (of UNDO: DONE; of CALL_OFF: DONE | REFUSED; of ASK: SUCCEEDED | FAILED), receipt,
--       note
-- ANSWERS  COMPLETED replayed seq state | REFUSED reason details... | UNFIT

local OUTCOME, RECEIPT, NOTE = unpack(ARGV, 6, 8)

local action, duty = held_duty()
if not action then return duty end
if duty.state == 'DONE' or duty.state == 'REFUSED' then return answer('COMPLETED', '1', duty.seq, duty.state) end
local known = action.state == 'SUCCEEDED' or action.state == 'FAILED'
if duty.state == 'MOOT' or (KIND == 'ASK' and known) then return refuse_duty('DUTY_OVER', { state = 'MOOT' }) end

local state, number = OUTCOME == 'REFUSED' and 'REFUSED' or 'DONE', nil
if KIND == 'ASK' then
  number = put_resolved(action, OUTCOME, duty.worker, NOTE, moot_by(OUTCOME, action))
else
  local said = KIND == 'CALL_OFF' and (OUTCOME == 'REFUSED' and 'REFUSED' or 'ACKNOWLEDGED') or ''
  number = append(JOURNAL, KIND == 'UNDO' and 'UNDONE' or 'CALLED_OFF', 'op', OP, 'worker', duty.worker,
    'receipt', RECEIPT, 'note', NOTE, 'outcome', said, 'handle', duty.handle)
end
end_duty(WHICH, 'state', state, 'seq', number)
return answer('COMPLETED', '0', number, state)
