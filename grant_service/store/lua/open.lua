-- open.lua: open a run, unless it was ended before or a run above it has ended.
-- KEYS  meta, runs, run, journal, [parent run, parent journal,] the runs of the path
-- ARGV  nonce, run id, path (comma-separated, root first: the run's if it exists, else its parent's), ttl_ms,
--       keep_ms (how long its records stay after its deadline), parent, subject, agent, tenant, labels (JSON)
-- ANSWERS  OPENED replayed run... | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local RUNS, RUN, JOURNAL, PARENT_RUN, PARENT_JOURNAL = unpack(KEYS, 2, 6)
local RUN_ID, PATH_TEXT, TTL_MS, KEEP_MS, PARENT, SUBJECT, AGENT, TENANT, LABELS = unpack(ARGV, 2, 10)
local PATH, PATH_AT = split(PATH_TEXT), PARENT == '' and 5 or 7

local unsure = clock_unsure()
if unsure then return unsure end

local existing = read(RUN)
if existing then
  local path = path_of(existing, RUN_ID)
  if path ~= PATH_TEXT then return { 'PATH', NONCE, path } end
  local reason, details = ended(PATH, PATH_AT, RUN_ID)
  if reason then return refused(reason, details) end
  local asked = { parent = PARENT, subject = SUBJECT, agent = AGENT, tenant = TENANT, labels = LABELS, ttl_ms = TTL_MS }
  for name, value in pairs(asked) do
    if existing[name] ~= value then return refused('RUN_EXISTS', { run = RUN_ID }) end
  end
  return answer('OPENED', '1', unpack(flatten(existing)))
end

local deadline, ancestors = NOW + tonumber(TTL_MS), ''
if PARENT ~= '' then
  local parent = read(PARENT_RUN)
  if not parent then return refused('RUN_UNKNOWN', { run = PARENT }) end
  local path = path_of(parent, PARENT)
  if path ~= PATH_TEXT then return { 'PATH', NONCE, path } end
  local reason, details = ended(PATH, PATH_AT, PARENT)
  if reason then return refused(reason, details) end
  if #PATH >= MAX_DEPTH then
    return refused('RUN_TOO_DEEP', { run = RUN_ID, depth = text(#PATH + 1), limit = text(MAX_DEPTH) })
  end
  if redis.call('EXISTS', PARENT_JOURNAL) == 0 then error('the journal ' .. PARENT_JOURNAL .. ' is gone') end
  deadline, ancestors = math.min(deadline, tonumber(parent.deadline)), path
end

local keep_until, number = text(deadline + tonumber(KEEP_MS)), take_seq()
redis.call('XADD', JOURNAL, unpack(entry(number, 'OPENED', 'parent', PARENT, 'subject', SUBJECT, 'agent', AGENT,
  'tenant', TENANT, 'labels', LABELS, 'deadline', text(deadline))))
redis.call('PEXPIREAT', JOURNAL, keep_until)
local run = put_run(RUN, RUN_ID, {
  parent = PARENT, ancestors = ancestors, subject = SUBJECT, agent = AGENT, tenant = TENANT, labels = LABELS,
  open_time = text(NOW), open_seq = number, ttl_ms = TTL_MS, deadline = text(deadline), keep_until = keep_until,
})
redis.call('PEXPIREAT', RUN, keep_until)
redis.call('ZADD', RUNS, number, RUN_ID)
if PARENT ~= '' then append(PARENT_JOURNAL, 'CHILD_OPENED', 'child', RUN_ID) end
return answer('OPENED', '0', unpack(flatten(run)))
