-- release.lua: let go of a run that has ended and was archived whole. What is left says how it ended. The records of
-- its grants, actions, spendings and duties are deleted afterwards: without the journal none of them can be acted on.
-- KEYS  meta, run, journal, runs, active, undoing, undos, then the runs of the path
-- ARGV  nonce, run id, ancestors (comma-separated), the number of the last entry that was archived
-- ANSWERS  RELEASED 0 done | PATH path | UNFIT

local RUN, JOURNAL, RUNS, ACTIVE, UNDOING, UNDOS = unpack(KEYS, 2, 7)
local PATH_AT = 8
local RUN_ID, ANCESTORS, LAST_SEQ = unpack(ARGV, 2, 4)
local PATH = ANCESTORS == '' and {} or split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID

local run = read(RUN)
if not run then return answer('RELEASED', '0', '0') end
if path_of(run, RUN_ID) ~= table.concat(PATH, ',') then return { 'PATH', NONCE, path_of(run, RUN_ID) } end
local last = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)[1]
if not ended(PATH, PATH_AT, RUN_ID) or not last or last[1] ~= LAST_SEQ .. '-0' then
  return answer('RELEASED', '0', '0')
end

-- Written anew: a hash that once had a long field does not become small again.
run.labels, run.marks, run.budgets = '', '', ''
redis.call('UNLINK', RUN)
redis.call('HSET', RUN, unpack(flatten(run)))
if run.state ~= 'CANCELLED' then redis.call('PEXPIREAT', RUN, run.keep_until) end
redis.call('UNLINK', JOURNAL, UNDOS)
redis.call('ZREM', RUNS, RUN_ID)
redis.call('ZREM', ACTIVE, RUN_ID)
redis.call('ZREM', UNDOING, RUN_ID)
return answer('RELEASED', '0', '1')
