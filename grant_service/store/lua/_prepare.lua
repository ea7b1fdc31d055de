-- What prepare and perform share: an intent, and putting it on record.
-- KEYS  as in _tool.lua and _exhaust.lua, then awaiting; then the verb's own
-- ARGV  as in _tool.lua, then digest, action, resource, reversibility, compensation, its arguments (JSON), probe, costs
--       (`name=amount`, comma-separated), summary, max actions of the run, wait_ms (how long it may wait for a person),
--       undo_ms (how long it may be undone, if the run is kept so long); then the verb's own

local AWAITING = KEYS[REST + #PATH + 1]
local INTENT = {
  op = OP, digest = ARGV[9], action = ARGV[10], resource = ARGV[11], reversibility = ARGV[12], compensation = ARGV[13],
  compensation_args = ARGV[14], probe = ARGV[15], costs = ARGV[16], summary = ARGV[17],
}
local MAX_ACTIONS, WAIT_MS, UNDO_MS = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20])

-- Refuse to take the same op_id for something else, or from under another grant.
local function not_same(action)
  local stored = pick(ACTION, 'op', 'reversibility', 'compensation', 'compensation_args', 'costs', 'summary')
  for name, value in pairs(INTENT) do
    if (stored[name] or action[name]) ~= value then return refuse('OP_ID_CONFLICT', INTENT) end
  end
  if action.grant ~= GRANT_ID then return refuse('WRONG_GRANT', INTENT) end
end

-- The place (from 1) of the first scope that allows the intent, whether a person has to agree, and when the run's
-- records go; or nil and the refusal.
local function may_prepare(grant)
  if NOW >= tonumber(grant.expire_time) then return nil, refuse('GRANT_EXPIRED', INTENT) end
  grant.scopes = redis.call('HGET', GRANT, 'scopes')
  local place, found = choose(grant, INTENT)
  if not place and found ~= 'uses' then return nil, refuse('OUT_OF_SCOPE', INTENT, { rule = found }) end
  if not place or not has_uses_left(place) then return nil, refuse('USES_EXHAUSTED', INTENT) end
  local run = redis.call('HMGET', RUN, 'actions', 'keep_until')
  if tonumber(run[1]) >= MAX_ACTIONS then return nil, refuse('RUN_FULL', INTENT, { limit = text(MAX_ACTIONS) }) end
  if #OWNERS > 0 then
    local short = short_of(charges(INTENT.costs))[1]
    if short then return nil, run_out(short, INTENT) end
  end
  local demand = found[5]
  return place, demand ~= '' and RANK[INTENT.reversibility] >= RANK[demand], run[2]
end

-- Write the action and answer it. What it will take is held for it first, unless it is taken `at_once`.
local function put_prepared(grant, place, waits, keep_until, ttl_ms, at_once)
  local expire = text(math.min(NOW + ttl_ms, tonumber(grant.expire_time)))
  local undo_until = text(math.min(NOW + UNDO_MS, tonumber(keep_until)))
  local state, scope = waits and 'AWAITING_APPROVAL' or 'PREPARED', text(place - 1)
  local number = append(JOURNAL, 'PREPARED', 'op', OP, 'grant', GRANT_ID, 'action', INTENT.action,
    'resource', INTENT.resource, 'digest', INTENT.digest, 'reversibility', INTENT.reversibility,
    'compensation', INTENT.compensation, 'probe', INTENT.probe, 'undo_until', undo_until, 'expire', expire,
    'costs', INTENT.costs, 'summary', INTENT.summary, 'awaits', waits and '1' or '')
  if #OWNERS > 0 and not at_once then
    hold_for(INTENT.costs, tonumber(expire))
    write_budgets()
  end
  redis.call('HSET', ACTION, 'run', RUN_ID, 'grant', GRANT_ID, 'op', OP, 'action', INTENT.action,
    'resource', INTENT.resource, 'digest', INTENT.digest, 'reversibility', INTENT.reversibility,
    'compensation', INTENT.compensation, 'compensation_args', INTENT.compensation_args, 'probe', INTENT.probe,
    'costs', INTENT.costs, 'summary', INTENT.summary, 'scope', scope, 'state', state, 'prepare_time', text(NOW),
    'prepare_seq', number, 'expire_time', expire, 'undo_until', undo_until, 'fence', '0', 'use_by', '0',
    'settle_seq', '0', 'result_args', '', 'resolved', '', 'handles', '', 'said_actor', '', 'said_note', '', 'said_seq', '0', 'said_until', '0',
    'said_ttl_ms', '0', 'said_amendment', '', 'said_digest', '')
  redis.call('PEXPIREAT', ACTION, keep_until)
  if waits then redis.call('ZADD', AWAITING, number, RUN_ID .. '/' .. OP) end
  redis.call('HINCRBY', RUN, 'actions', 1)
  return {
    scope = scope, state = state, prepare_seq = number, expire_time = expire, costs = INTENT.costs, probe = INTENT.probe,
    undo_until = undo_until, keep_until = keep_until,
  }
end
