-- delegate.lua: hand on part of a grant; what is handed on is never wider, longer-lived or richer.
-- KEYS  as in _tool.lua, then, for a grant of a child run: runs, active, child, the child's journal
-- ARGV  as in _tool.lua, then new grant id, audience ('' for that of the grant above), scopes (JSON), ttl_ms, budgets
--       (`name limit policy`, joined by semicolons), sealed ('1' or ''), max delegations of the tree; then, for a grant
--       of a child run: its id, ttl_ms (0: as long as the run above), keep_ms (how long its records stay after its
--       deadline), agent, labels (JSON), budgets, the marks of its labels
-- ANSWERS  DELEGATED replayed subject remaining size run... grant... (size: how many words of them are the run's)
--          | REFUSED reason details... | UNFIT

local NEW, NEW_ID, RUNS, ACTIVE, CHILD, CHILD_JOURNAL = RECORD, ARGV[9], unpack(KEYS, REST, REST + 3)
local AUDIENCE, SCOPES, TTL_MS, BUDGETS, SEALED, MAX_DELEGATIONS = unpack(ARGV, 10, 15)
local CHILD_ID, CHILD_TTL_MS, CHILD_KEEP_MS, AGENT, LABELS, CHILD_BUDGETS = unpack(ARGV, 16, 21)
local LABELS_AT = 22

-- What was delegated; `budgets` are the new grant's own.
local function delegated(replayed, subject, run, budgets, grant)
  if run then add_budgets(run.budgets) end
  add_budgets(budgets)
  open_budgets()
  local words = run and flatten(run) or {}
  local size = text(#words)
  for _, word in ipairs(grant) do words[#words + 1] = word end
  return answer('DELEGATED', replayed, subject, remaining(), size, unpack(words))
end

-- The name of the first budget asked for that would hold more than one of the same name above, or nil.
local function richer_than_above(asked)
  for name, limit in string.gmatch(asked, '([^ ;]+) (%d+) %u+') do
    for _, owner in ipairs(OWNERS) do
      for _, budget in ipairs(owner.budgets) do
        if budget.name == name and tonumber(limit) > budget.limit then return name end
      end
    end
  end
end

local above, refusal = authority(nil, nil)
if not above then return refusal end
open_budgets()
local run = pick(RUN, 'run', 'ancestors', 'subject', 'tenant', 'deadline', 'keep_until', 'marks')
local child = CHILD and {
  parent = RUN_ID, subject = run.subject, agent = AGENT, tenant = run.tenant, labels = LABELS, ttl_ms = CHILD_TTL_MS,
  budgets = CHILD_BUDGETS,
}
local asked = cjson.decode(SCOPES)
if ANY_FENCE then
  local marks = child and marks_of(CHILD_ID, child, run.marks, LABELS_AT) or run.marks
  local reason, details = frozen(ANCHORS, FENCES, marks .. '\ngrant=' .. table.concat(LINKS, '\ngrant='), asked)
  if reason then return refuse(reason, nil, details) end
end
local kept = redis.call('HMGET', GRANT, 'sealed', 'scopes', 'root_seq')
if kept[1] ~= '' then return refuse('GRANT_SEALED') end
if NOW >= tonumber(above.expire_time) then return refuse('GRANT_EXPIRED') end
local scopes, places = narrowed_all(cjson.decode(kept[2]), asked)
if not scopes then return refuse('GRANT_TOO_WIDE', nil, places) end

local root_seq, scopes_json, chain = kept[3], scopes_text(scopes), table.concat(LINKS, ',')
local audience = AUDIENCE == '' and above.audience or AUDIENCE
local child_run = CHILD and read(CHILD)

local existing = read(NEW)
if existing then
  local same = is_same(existing, {
    run = CHILD_ID or RUN_ID, audience = audience, scopes = scopes_json, ttl_ms = TTL_MS, chain = chain,
    sealed = SEALED, budgets = BUDGETS,
  })
  if not same or (child and not (child_run and is_same(child_run, child))) then
    return refuse('GRANT_EXISTS', nil, { grant = NEW_ID })
  end
  return delegated('1', (child_run or run).subject, child_run, existing.budgets, flatten(existing))
end

if #LINKS >= MAX_CHAIN then
  return refuse('GRANT_TOO_DEEP', nil, { grant = NEW_ID, depth = text(#LINKS + 1), limit = text(MAX_CHAIN) })
end
local richer = richer_than_above(BUDGETS) or richer_than_above(CHILD_BUDGETS or '')
if richer then
  return refuse('GRANT_TOO_WIDE', nil, { field = 'budgets[' .. richer .. ']', rule = 'is larger than the one above' })
end
local root = KEYS[RUNS_AT]
if tonumber(redis.call('HGET', root, 'delegations')) >= tonumber(MAX_DELEGATIONS) then
  return refuse('TREE_FULL', nil, { limit = MAX_DELEGATIONS })
end
if child_run then return refuse('RUN_EXISTS', nil, { run = CHILD_ID }) end
if child and #PATH >= MAX_DEPTH then
  return refuse('RUN_TOO_DEEP', nil, { run = CHILD_ID, depth = text(#PATH + 1), limit = text(MAX_DEPTH) })
end
if redis.call('EXISTS', JOURNAL) == 0 then error('the journal ' .. JOURNAL .. ' is gone') end

local owner, journal = run, JOURNAL
if child then
  run.path = path_of(run, RUN_ID)
  local keys = { run = CHILD, journal = CHILD_JOURNAL, runs = RUNS, active = ACTIVE, parent_journal = JOURNAL }
  owner, journal = open_run(keys, CHILD_ID, child, CHILD_KEEP_MS, run, LABELS_AT), CHILD_JOURNAL
end
local expire_time = math.min(NOW + tonumber(TTL_MS), tonumber(above.expire_time), tonumber(owner.deadline))
local expire = text(expire_time)
local number = append(journal, 'DELEGATED', 'grant', NEW_ID, 'chain', chain, 'root', root_seq,
  'audience', audience, 'scopes', scopes_json, 'expire', expire, 'budgets', BUDGETS, 'sealed', SEALED)
redis.call('HINCRBY', root, 'delegations', 1)
local grant = new_grant({
  grant = NEW_ID, run = owner.run, ancestors = owner.ancestors, audience = audience, scopes = scopes_json,
  scope_list = scopes, expire_time = expire, number = number, ttl_ms = TTL_MS, root_seq = root_seq, chain = chain,
  narrows = places, sealed = SEALED, budgets = BUDGETS,
})
redis.call('HSET', NEW, unpack(grant))
redis.call('PEXPIREAT', NEW, owner.keep_until)
return delegated('0', run.subject, child and owner, new_budgets(BUDGETS), grant)
