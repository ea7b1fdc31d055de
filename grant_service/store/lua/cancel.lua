-- cancel.lua: end a run for good, at a cost that does not depend on what runs below it. Nothing refuses it: a run id
-- nobody knows gets a tombstone and can never be opened.
-- KEYS  meta, run, journal, jobs, cuts
-- ARGV  nonce, run id, reason, actor, note, tag, keep_ms (how long the journal of a tombstone stays)
-- ANSWERS  CANCELLED replayed state seq time known | UNFIT

local RUN, JOURNAL, JOBS, CUTS = unpack(KEYS, 2, 5)
local RUN_ID, REASON, ACTOR, NOTE, TAG, KEEP_MS = unpack(ARGV, 2, 7)

local run = read(RUN)
local known = run and tonumber(run.open_seq) > 0 and '1' or '0'
if run and run.state ~= 'ACTIVE' then
  return answer('CANCELLED', '1', run.state, run.end_seq, run.end_time, known)
end

local path = run and path_of(run, RUN_ID)
local has_jobs = path and find_jobs(JOBS, path, true, 1)[1]

-- The run first: should a later write fail, it is cancelled all the same. Its record stays for ever.
local number, time = take_seq(), text(NOW)
if not run then put_run(RUN, RUN_ID, {}) end
put_cancelled(RUN, number, REASON, ACTOR, NOTE, TAG)
local keep_until = run and run.keep_until or text(NOW + tonumber(KEEP_MS))
write_late_entry(JOURNAL, keep_until, number, 'CANCELLED', 'reason', REASON, 'actor', ACTOR, 'note', NOTE, 'tag', TAG)
if has_jobs then look_below(CUTS, path, AT_ONCE) end
hint(RUN_ID)
return answer('CANCELLED', '0', 'CANCELLED', number, time, known)
