-- undo.lua: ask for an effect to be undone, once its run has ended. One that was given up is tried afresh.
-- KEYS  as in _about.lua, then undoing, and the path as in _path.lua
-- ARGV  as in _about.lua, then actor, note; the path as in _path.lua
-- ANSWERS  UNDO_ASKED replayed seq state | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local UNDOING, ACTOR, NOTE = KEYS[RUNS_AT - 1], ARGV[4], ARGV[5]
local NOT_UNDOABLE = { READ_ONLY = 'there is nothing to undo', IRREVERSIBLE = 'it is irreversible' }
local IT_DID_NOT = { FAILED = true, ABANDONED = true, DENIED = true, PREPARED = true, AWAITING_APPROVAL = true }
local NOT_PERMITTED = { PREPARED = true, AWAITING_APPROVAL = true }

local function why_not(action, duty, there)
  if NOT_UNDOABLE[action.reversibility] then return NOT_UNDOABLE[action.reversibility] end
  if action.compensation == '' then return 'no compensation is registered' end
  if NOT_PERMITTED[action.state] and may_lack_entries(there) then return PERMIT_MAY_BE_LOST end
  if IT_DID_NOT[action.state] then return 'it did not happen' end
  if duty and duty.state == 'WITHDRAWN' then return 'the authority to undo it was taken back' end
  if NOW >= tonumber(action.undo_until) then return 'the time in which it could be undone is over' end
end

local unsure = clock_unsure()
if unsure then return unsure end
local action = read(ACTION)
if not action then return unknown_action() end
local there, other_path = find_run()
if other_path then return other_path end
if there and not ended(PATH, RUNS_AT, RUN_ID) then return refused('RUN_ACTIVE', { run = RUN_ID }) end
local duty = read(DUTIES.UNDO)
if duty and (duty.state == 'DONE' or (duty.state == 'OPEN' and duty.epoch == EPOCH)) then
  return answer('UNDO_ASKED', '1', duty.seq, duty.state)
end
local rule = why_not(action, duty, there)
if rule then return refused('NOT_UNDOABLE', { run = RUN_ID, op = OP, rule = rule }) end

local goes, holder = records_go(action), duty or {} -- whoever holds it still does
local number = append(JOURNAL, 'UNDO_ASKED', 'op', OP, 'actor', ACTOR, 'note', NOTE)
redis.call('ZADD', UNDOING, number, RUN_ID)
put_duty('UNDO', {
  name = action.compensation, seq = number, fence = action.fence, due = text(NOW), ['until'] = action.undo_until,
  worker = holder.worker, lease = holder.lease, lease_until = holder.lease_until,
  failed_lease = holder.failed_lease, failed_seq = holder.failed_seq,
}, goes)
return answer('UNDO_ASKED', '0', number, 'OPEN')
