-- issue.lua: issue a grant for a run that is active and whose runs above are.
-- KEYS  meta, journal, grant, the runs of the path (root first, the grant's own run last)
-- ARGV  nonce, grant id, run id, ancestors (comma-separated, root first), audience, scopes (JSON), used (a 0 for each
--       scope, comma-separated), ttl_ms
-- ANSWERS  ISSUED replayed subject grant... | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local JOURNAL, GRANT, RUN = KEYS[2], KEYS[3], KEYS[#KEYS]
local GRANT_ID, RUN_ID, ANCESTORS, AUDIENCE, SCOPES, USED, TTL_MS = unpack(ARGV, 2, 8)
local PATH = split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID

local unsure = clock_unsure()
if unsure then return unsure end
local run = read(RUN)
if not run then return refused('RUN_UNKNOWN', { run = RUN_ID }) end
if run.ancestors ~= ANCESTORS then return { 'PATH', NONCE, path_of(run, RUN_ID) } end
local reason, details = ended(PATH, 4, RUN_ID)
if reason then return refused(reason, details) end

local existing = read(GRANT)
if existing then
  local asked = { run = RUN_ID, audience = AUDIENCE, scopes = SCOPES, ttl_ms = TTL_MS }
  for name, value in pairs(asked) do
    if existing[name] ~= value then return refused('GRANT_EXISTS', { grant = GRANT_ID }) end
  end
  return answer('ISSUED', '1', run.subject, unpack(flatten(existing)))
end

local expire = text(math.min(NOW + tonumber(TTL_MS), tonumber(run.deadline)))
local number = append(JOURNAL, 'ISSUED', 'grant', GRANT_ID, 'audience', AUDIENCE, 'scopes', SCOPES, 'expire', expire)
local grant = {
  'grant', GRANT_ID, 'run', RUN_ID, 'ancestors', ANCESTORS, 'audience', AUDIENCE, 'epoch', EPOCH, 'scopes', SCOPES,
  'used', USED, 'issue_time', text(NOW), 'expire_time', expire, 'issue_seq', number, 'ttl_ms', TTL_MS,
}
redis.call('HSET', GRANT, unpack(grant))
redis.call('PEXPIREAT', GRANT, run.keep_until)
return answer('ISSUED', '0', run.subject, unpack(grant))
