-- settle.lua: record what became of a permitted action; information, so neither expiry nor a cancel refuses it.
-- KEYS  as in _tool.lua, then as in _duties.lua, then jobs, stops
-- ARGV  as in _tool.lua, then outcome (SUCCEEDED | FAILED | UNKNOWN), receipt, note, result_args (more arguments of its
--       compensation, as JSON), handle (what the outside world calls what it has only accepted), canceller (who can
--       call that off)
-- ANSWERS  SETTLED replayed seq state after_cut remaining | REFUSED reason details... | UNFIT

local OUTCOME, RECEIPT, NOTE, RESULT_ARGS, HANDLE, CANCELLER = unpack(ARGV, 9, 14)

local JOBS, STOPS = KEYS[REST + 6], KEYS[REST + 7]

local action, grant = own_action('fence', 'compensation', 'result_args', 'handle')
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
local moot = moot_by(OUTCOME, action)
local goes = HANDLE ~= '' and HANDLE ~= action.handle and records_go(action)
local deadline = goes and redis.call('HGET', RUN, 'deadline')
local is_first = goes and redis.call('EXISTS', STOPS) == 0
local number = append(JOURNAL, 'SETTLED', 'op', OP, 'outcome', OUTCOME, 'receipt', RECEIPT, 'note', NOTE,
  'handle', HANDLE, 'canceller', CANCELLER)
if goes then -- it may be called off, should the run be cancelled; the same job once
  local path = table.concat(PATH, ',')
  if OUTCOME ~= 'FAILED' then
    redis.call('ZADD', JOBS, '0', job_of(path, OP))
    if is_first then redis.call('HSET', META, 'looked_in', EPOCH) end -- nothing of another epoch is there
    look_below(STOPS, path, after_cut == '1' and AT_ONCE or deadline)
  end
  put_duty('CALL_OFF', {
    state = OUTCOME == 'FAILED' and 'MOOT' or 'OPEN', name = CANCELLER, seq = number, fence = action.fence,
    due = NEVER, ['until'] = action.undo_until,
  }, goes)
end
redis.call('HSET', ACTION, 'state', OUTCOME, 'settle_seq', number,
  'result_args', RESULT_ARGS ~= '' and RESULT_ARGS or action.result_args, 'handle', HANDLE ~= '' and HANDLE or action.handle)
close_moot(moot)
return answer('SETTLED', '0', number, OUTCOME, after_cut, remaining())
