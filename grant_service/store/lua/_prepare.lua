-- What prepare and perform share: an intent, and putting it on record.
-- ARGV  ..., digest, action, resource, reversibility, compensation, max actions of the run; then the verb's own

local INTENT = {
  op = OP, digest = ARGV[8], action = ARGV[9], resource = ARGV[10], reversibility = ARGV[11], compensation = ARGV[12],
}
local MAX_ACTIONS = tonumber(ARGV[13])

-- Refuse to take the same op_id for something else, or from under another grant.
local function not_same(action)
  for name, value in pairs(INTENT) do
    if action[name] ~= value then return refuse('OP_ID_CONFLICT', INTENT) end
  end
  if action.grant ~= GRANT_ID then return refuse('WRONG_GRANT', INTENT) end
end

-- The first scope (from 1) that allows the intent and when its run's records go, or nil and the refusal.
local function may_prepare(grant)
  if NOW >= tonumber(grant.expire_time) then return nil, refuse('GRANT_EXPIRED', INTENT) end
  local scope, rule = choose(grant, INTENT)
  if rule == 'uses' then return nil, refuse('USES_EXHAUSTED', INTENT) end
  if not scope then return nil, refuse('OUT_OF_SCOPE', INTENT, { rule = rule }) end
  local run = redis.call('HMGET', RUN, 'actions', 'keep_until')
  if tonumber(run[1]) >= MAX_ACTIONS then return nil, refuse('RUN_FULL', INTENT, { limit = text(MAX_ACTIONS) }) end
  return scope, run[2]
end

-- Write the action and answer it.
local function put_prepared(grant, scope, keep_until, ttl_ms)
  local expire = text(math.min(NOW + ttl_ms, tonumber(grant.expire_time)))
  local number = append(JOURNAL, 'PREPARED', 'op', OP, 'grant', GRANT_ID, 'action', INTENT.action,
    'resource', INTENT.resource, 'digest', INTENT.digest, 'reversibility', INTENT.reversibility,
    'compensation', INTENT.compensation, 'expire', expire)
  redis.call('HSET', ACTION, 'run', RUN_ID, 'grant', GRANT_ID, 'op', OP, 'action', INTENT.action,
    'resource', INTENT.resource, 'digest', INTENT.digest, 'reversibility', INTENT.reversibility,
    'compensation', INTENT.compensation, 'scope', text(scope - 1), 'state', 'PREPARED', 'prepare_time', text(NOW),
    'prepare_seq', number, 'expire_time', expire, 'fence', '0', 'use_by', '0', 'settle_seq', '0')
  redis.call('PEXPIREAT', ACTION, keep_until)
  redis.call('HINCRBY', RUN, 'actions', 1)
  return { scope = text(scope - 1), prepare_seq = number, expire_time = expire }
end
