-- settle.lua: record what became of a permitted action; information, so neither expiry nor a cancel refuses it.
-- KEYS  as in _tool.lua, then as in _duties.lua, then jobs, cuts
-- ARGV  as in _tool.lua, then outcome (SUCCEEDED | FAILED | UNKNOWN), receipt, note, result_args (more arguments of its
--       compensation, as JSON), handle (what the outside world calls what it has only accepted), canceller (who can
--       call that off), why_not (why nobody can, where nobody is named)
-- ANSWERS  SETTLED replayed seq state after_cut remaining why_not | REFUSED reason details... | UNFIT

local OUTCOME, RECEIPT, NOTE, RESULT_ARGS, HANDLE, CANCELLER, WHY_NOT = unpack(ARGV, 9, 15)

local JOBS, CUTS = KEYS[#KEYS - 1], KEYS[#KEYS]

local action, grant = own_action('fence', 'compensation', 'result_args', 'handles', 'resolved')
if not action then return grant end
local job = named(action, HANDLE, CANCELLER, WHY_NOT)
local after_cut = ended(PATH, RUNS_AT, RUN_ID) and '1' or '0'
local state, heard = action.state, action.resolved == ''
local again = settled(state) and state == OUTCOME
if again and heard and not job.is_news then
  find_budgets(grant)
  return answer('SETTLED', '1', redis.call('HGET', ACTION, 'settle_seq'), state, after_cut, remaining(), job.why_not)
end
if again and heard and job.number >= MAX_JOBS then
  return refuse('ALREADY_SETTLED', action, { state = state, rule = job.why_not })
end
if not again and (state == 'SUCCEEDED' or state == 'FAILED') then
  return refuse('ALREADY_SETTLED', action, { state = state })
end
if not again and state ~= 'PERMITTED' and state ~= 'UNKNOWN' then
  return refuse('NEVER_PERMITTED', action, { state = state })
end

find_budgets(grant)
local moot = moot_by(OUTCOME, action)
local goes = job.is_news and job.why_not == '' and records_go(action)
local deadline = goes and redis.call('HGET', RUN, 'deadline')
local is_first = goes and redis.call('EXISTS', CUTS) == 0
local number = append(JOURNAL, 'SETTLED', 'op', OP, 'outcome', OUTCOME, 'receipt', RECEIPT, 'note', NOTE,
  'handle', HANDLE, 'canceller', job.why_not == '' and CANCELLER or '', 'why_not', job.why_not)
if job.handles ~= action.handles then redis.call('HSET', ACTION, 'handles', job.handles) end
if goes then -- it may be called off, should the run be cancelled
  local path = table.concat(PATH, ',')
  if OUTCOME ~= 'FAILED' then
    redis.call('ZADD', JOBS, '0', waits_as(path, which('CALL_OFF', job.number)))
    if is_first then redis.call('HSET', META, 'looked_in', EPOCH) end -- nothing of another epoch is there
    look_below(CUTS, path, after_cut == '1' and AT_ONCE or deadline)
  end
  put_duty(which('CALL_OFF', job.number), {
    state = OUTCOME == 'FAILED' and 'MOOT' or 'OPEN', name = CANCELLER, seq = number, fence = action.fence,
    due = NEVER, ['until'] = action.undo_until, handle = HANDLE,
  }, goes)
end
redis.call('HSET', ACTION, 'state', OUTCOME, 'settle_seq', number, 'resolved', '',
  'result_args', RESULT_ARGS ~= '' and RESULT_ARGS or action.result_args)
close_moot(moot)
return answer('SETTLED', '0', number, OUTCOME, after_cut, remaining(), job.why_not)
