-- issue.lua: issue a grant for a run that is active and whose runs above are.
-- KEYS  meta, anchors, fences, journal, grant, the runs of the path (root first, the grant's own run last)
-- ARGV  nonce, grant id, run id, ancestors (comma-separated, root first), audience, scopes (JSON), ttl_ms, budgets
--       (`name limit policy`, joined by semicolons), sealed ('1' or '')
-- ANSWERS  ISSUED replayed subject remaining grant... | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local ANCHORS, FENCES, JOURNAL, GRANT, RUN = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[#KEYS]
local GRANT_ID, RUN_ID, ANCESTORS, AUDIENCE, SCOPES, TTL_MS, BUDGETS, SEALED = unpack(ARGV, 2, 9)
local PATH = split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID

local function issued(replayed, subject, budgets, grant)
  add_budgets(budgets)
  open_budgets()
  return answer('ISSUED', replayed, subject, remaining(), unpack(grant))
end

local unsure = clock_unsure()
if unsure then return unsure end
local run = read(RUN)
if not run then return refused('RUN_UNKNOWN', { run = RUN_ID }) end
if run.ancestors ~= ANCESTORS then return { 'PATH', NONCE, path_of(run, RUN_ID) } end
local reason, details = ended(PATH, 6, RUN_ID, OWNERS)
if reason then return refused(reason, details) end
local scopes = cjson.decode(SCOPES)
if ANY_FENCE then
  reason, details = frozen(ANCHORS, FENCES, run.marks, scopes)
  if reason then
    details.run = RUN_ID
    return refused(reason, details)
  end
end

local existing = read(GRANT)
if existing then
  local asked = {
    run = RUN_ID, audience = AUDIENCE, scopes = SCOPES, ttl_ms = TTL_MS, chain = '', sealed = SEALED, budgets = BUDGETS,
  }
  if not is_same(existing, asked) then return refused('GRANT_EXISTS', { grant = GRANT_ID }) end
  return issued('1', run.subject, existing.budgets, flatten(existing))
end

local expire = text(math.min(NOW + tonumber(TTL_MS), tonumber(run.deadline)))
local number = append(JOURNAL, 'ISSUED', 'grant', GRANT_ID, 'audience', AUDIENCE, 'scopes', SCOPES, 'expire', expire,
  'budgets', BUDGETS, 'sealed', SEALED)
local grant = new_grant({
  grant = GRANT_ID, run = RUN_ID, ancestors = ANCESTORS, audience = AUDIENCE, scopes = SCOPES, scope_list = scopes,
  expire_time = expire, number = number, ttl_ms = TTL_MS, root_seq = number, chain = '', narrows = '', sealed = SEALED,
  budgets = BUDGETS,
})
redis.call('HSET', GRANT, unpack(grant))
redis.call('PEXPIREAT', GRANT, run.keep_until)
return issued('0', run.subject, new_budgets(BUDGETS), grant)
