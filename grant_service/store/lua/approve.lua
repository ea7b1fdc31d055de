-- approve.lua: let an action that waits for a person be committed, with these very arguments, once and for a while.
-- KEYS  meta, awaiting, journal, action, the runs of the path (root first, the action's own run last)
-- ARGV  nonce, run id, ancestors (comma-separated, root first), op_id, digest, ttl_ms (how long it can be used), actor,
--       note, amendment (other arguments, as JSON, or ''), their digest
-- ANSWERS  APPROVED replayed seq until | PATH path (ask again with this one) | REFUSED reason details... | UNFIT

local AWAITING, JOURNAL, ACTION, RUN = KEYS[2], KEYS[3], KEYS[4], KEYS[#KEYS]
local RUN_ID, ANCESTORS, OP, DIGEST, TTL_MS, ACTOR, NOTE, AMENDMENT, AMENDED = unpack(ARGV, 2, 10)
local PATH = split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID

local unsure = clock_unsure()
if unsure then return unsure end
local run = pick(RUN, 'state', 'ancestors')
if not run then return refused('RUN_UNKNOWN', { run = RUN_ID }) end
if run.ancestors ~= ANCESTORS then return { 'PATH', NONCE, path_of(run, RUN_ID) } end
local reason, details = ended(PATH, 5, RUN_ID)
if reason then return refused(reason, details) end
local action = read(ACTION)
if not action then return refused('ACTION_UNKNOWN', { run = RUN_ID, op = OP }) end
local same = action.said_ttl_ms == TTL_MS and action.said_amendment == AMENDMENT and action.said_digest == AMENDED
same = same and action.state == 'PREPARED' and action.said_seq ~= '0' and NOW < tonumber(action.said_until)
if action.digest == DIGEST and same then
  return answer('APPROVED', '1', action.said_seq, action.said_until)
end
if action.digest ~= DIGEST or action.state ~= 'AWAITING_APPROVAL' or NOW >= tonumber(action.expire_time) then
  return not_awaiting(action)
end

local stop = text(math.min(NOW + tonumber(TTL_MS), tonumber(action.expire_time)))
local number = append(JOURNAL, 'APPROVED', 'op', OP, 'actor', ACTOR, 'note', NOTE, 'until', stop,
  'digest', AMENDED == '' and DIGEST or AMENDED)
redis.call('HSET', ACTION, 'state', 'PREPARED', 'said_actor', ACTOR, 'said_note', NOTE, 'said_seq', number,
  'said_until', stop, 'said_ttl_ms', TTL_MS, 'said_amendment', AMENDMENT, 'said_digest', AMENDED)
redis.call('ZREM', AWAITING, RUN_ID .. '/' .. OP)
return answer('APPROVED', '0', number, stop)
