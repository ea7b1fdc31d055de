-- open.lua: open a run, unless it was ended before or a run above it has ended.
-- KEYS  meta, runs, active, run, journal, [parent run, parent journal,] the runs of the path
-- ARGV  nonce, run id, path (comma-separated, root first: the run's if it exists, else its parent's), ttl_ms (0, below
--       another: as long as that), keep_ms (how long its records stay after its deadline), parent, subject, agent,
--       tenant, labels (JSON), budgets (`name limit policy`, joined by semicolons), the marks of its labels
-- ANSWERS  OPENED replayed run... | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local RUNS, ACTIVE, RUN, JOURNAL, PARENT_RUN, PARENT_JOURNAL = unpack(KEYS, 2, 7)
local RUN_ID, PATH_TEXT, TTL_MS, KEEP_MS, PARENT, SUBJECT, AGENT, TENANT, LABELS, BUDGETS = unpack(ARGV, 2, 11)
local PATH, PATH_AT = split(PATH_TEXT), PARENT == '' and 6 or 8
local ASKED = {
  parent = PARENT, subject = SUBJECT, agent = AGENT, tenant = TENANT, labels = LABELS, ttl_ms = TTL_MS, budgets = BUDGETS,
}

local unsure = clock_unsure()
if unsure then return unsure end

local existing = read(RUN)
if existing then
  local path = path_of(existing, RUN_ID)
  if path ~= PATH_TEXT then return { 'PATH', NONCE, path } end
  local reason, details = ended(PATH, PATH_AT, RUN_ID)
  if reason then return refused(reason, details) end
  if not is_same(existing, ASKED) then return refused('RUN_EXISTS', { run = RUN_ID }) end
  return answer('OPENED', '1', unpack(flatten(existing)))
end

local parent
if PARENT ~= '' then
  parent = read(PARENT_RUN)
  if not parent then return refused('RUN_UNKNOWN', { run = PARENT }) end
  parent.path = path_of(parent, PARENT)
  if parent.path ~= PATH_TEXT then return { 'PATH', NONCE, parent.path } end
  local reason, details = ended(PATH, PATH_AT, PARENT)
  if reason then return refused(reason, details) end
  if #PATH >= MAX_DEPTH then
    return refused('RUN_TOO_DEEP', { run = RUN_ID, depth = text(#PATH + 1), limit = text(MAX_DEPTH) })
  end
  if redis.call('EXISTS', PARENT_JOURNAL) == 0 then error('the journal ' .. PARENT_JOURNAL .. ' is gone') end
end

local keys = { run = RUN, journal = JOURNAL, runs = RUNS, active = ACTIVE, parent_journal = PARENT_JOURNAL }
local run = open_run(keys, RUN_ID, ASKED, KEEP_MS, parent, 12)
return answer('OPENED', '0', unpack(flatten(run)))
