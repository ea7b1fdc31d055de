-- withdraw.lua: take back the authority to undo an effect, whether anybody asked for that or not.
-- KEYS  as in _about.lua
-- ARGV  as in _about.lua, then actor, note
-- ANSWERS  WITHDRAWN replayed seq lease_until | REFUSED reason details... | UNFIT

local ACTOR, NOTE = ARGV[4], ARGV[5]

local action = read(ACTION)
if not action then return unknown_action() end
local duty = read(DUTIES.UNDO)
if duty and duty.state == 'WITHDRAWN' then return answer('WITHDRAWN', '1', duty.seq, duty.lease_until) end
if duty and duty.state == 'DONE' then
  return refused('DUTY_OVER', { run = RUN_ID, op = OP, duty = 'UNDO', state = 'DONE' })
end
if action.compensation == '' then
  return refused('NOT_UNDOABLE', { run = RUN_ID, op = OP, rule = 'no compensation is registered' })
end

local goes = not duty and records_go(action)
local number = append(JOURNAL, 'UNDO_WITHDRAWN', 'op', OP, 'actor', ACTOR, 'note', NOTE)
if duty then
  end_duty('UNDO', 'state', 'WITHDRAWN', 'seq', number)
else
  put_duty('UNDO', {
    state = 'WITHDRAWN', name = action.compensation, seq = number, fence = action.fence, due = text(NOW),
    ['until'] = action.undo_until,
  }, goes)
end
return answer('WITHDRAWN', '0', number, duty and duty.lease_until or '0')
