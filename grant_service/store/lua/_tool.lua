-- What the verbs of a tool share: who asks, by which grants and runs, and how a refused call is kept.
-- KEYS  meta, anchors, fences, journal, record (the action or spending, or the grant to make), the grants of the chain
--       (the first one first, the caller's own last), the runs of the path (root first, the grant's own run last);
--       from REST on the verb's own
-- ARGV  nonce, verb, grant id, run id, ancestors (comma-separated, root first), chain (comma-separated, the first one
--       first), peer ('' may be anybody), op_id; then the verb's own

local ANCHORS, FENCES, JOURNAL, RECORD = unpack(KEYS, 2, 5)
local VERB, GRANT_ID, RUN_ID, ANCESTORS, CHAIN, PEER, OP = unpack(ARGV, 2, 8)
local PATH, LINKS = ANCESTORS == '' and {} or split(ANCESTORS), CHAIN == '' and {} or split(CHAIN)
PATH[#PATH + 1], LINKS[#LINKS + 1] = RUN_ID, GRANT_ID
local GRANTS_AT, RUNS_AT, REST = 6, 6 + #LINKS, 6 + #LINKS + #PATH
local GRANT, RUN = KEYS[RUNS_AT - 1], KEYS[REST - 1]

-- What the call acts by, once it is cleared: the grants of its chain. `OWNERS` has what of it sets budgets.
local GRANTS = {}

-- What is asked for where that is no action: a line about its refusal tells it.
local ASKED = {}

-- Refuse, and leave a line in the run's journal: an attempt is evidence too. `intent` is what it is about, if anything
-- is; `first` is written before it, after all is read.
local function refuse(reason, intent, more, first)
  local details = { run = RUN_ID, grant = GRANT_ID, op = OP }
  if intent then details.action, details.resource = intent.action, intent.resource end
  for name, value in pairs(more or {}) do details[name] = value end
  for name, value in pairs(details) do
    if value == '' then details[name] = nil end
  end
  -- A call that waits for a person comes again and again, and is on record already.
  local refusals = reason ~= 'AWAITING_APPROVAL' and redis.call('HGET', RUN, 'refusals')
  if first then first() end
  if refusals then
    if tonumber(refusals) < MAX_REFUSALS_KEPT then
      local data = { 'verb', VERB, 'reason', reason }
      for _, name in ipairs({
        'op', 'grant', 'action', 'resource', 'rule', 'state', 'prior_decision', 'peer', 'budget', 'fence', 'amount',
        'incurred',
      }) do
        data[#data + 1] = name
        data[#data + 1] = ASKED[name] or details[name] or ''
      end
      append(JOURNAL, 'REFUSED', unpack(data))
    end
    redis.call('HINCRBY', RUN, 'refusals', 1)
  end
  return refused(reason, details)
end

-- The grant the token points to, or nil and the refusal: it must be present, and the caller's own.
local function own_grant(intent)
  local grant = pick(GRANT, 'run', 'ancestors', 'chain', 'audience', 'epoch', 'expire_time', 'used', 'budgets',
    'end_seq')
  if not grant or grant.run ~= RUN_ID or grant.ancestors ~= ANCESTORS or grant.chain ~= CHAIN then
    return nil, refused('GRANT_UNKNOWN', { grant = GRANT_ID, run = RUN_ID })
  end
  if PEER ~= '' and grant.audience ~= PEER then
    return nil, refuse('WRONG_AUDIENCE', intent, { audience = grant.audience, peer = PEER })
  end
  return grant
end

-- A grant above the caller's own, or nil if it is gone.
local function grant_above(place)
  return pick(KEYS[GRANTS_AT + place - 1], 'run', 'epoch', 'used', 'narrows', 'budgets', 'end_seq')
end

local function add_owner(place, grant)
  if grant.budgets ~= '' then
    local key = KEYS[GRANTS_AT + place - 1]
    OWNERS[#OWNERS + 1] = { kind = 'grant', id = LINKS[place], run = grant.run, key = key, text = grant.budgets }
  end
end

-- Why a grant of the chain forbids, and the details: it is gone, of another epoch or was ended; nil while none does.
local function chain_broken(own)
  for i, link in ipairs(LINKS) do
    local grant = i == #LINKS and own or grant_above(i)
    if not grant then return 'GRANT_UNKNOWN', { grant = link, run = RUN_ID } end
    if grant.epoch ~= EPOCH then return 'STORE_EPOCH', { run = RUN_ID } end
    if grant.end_seq ~= '0' then
      local ended_by = redis.call('HMGET', KEYS[GRANTS_AT + i - 1], 'end_time', 'end_budget')
      return 'GRANT_ENDED', {
        ended_grant = link, budget = ended_by[2], seq = grant.end_seq, ended_time = ended_by[1],
        ended_ago_ms = text(NOW - tonumber(ended_by[1])),
      }
    end
    GRANTS[i] = grant
    add_owner(i, grant)
  end
  own.narrows = #LINKS > 1 and redis.call('HGET', GRANT, 'narrows')
end

-- Why a fence stands over this authority, and the details; nil while none does. `action` is a name, '' for none.
local function fenced(action)
  local marks, anchors = redis.call('HGET', RUN, 'marks') .. '\ngrant=' .. table.concat(LINKS, '\ngrant='), {}
  add_action_anchors(anchors, action)
  local root_seq = tonumber(redis.call('HGET', GRANT, 'root_seq'))
  return fence_over(ANCHORS, FENCES, marks, anchors, function(fence)
    if root_seq >= tonumber(fence.seq) and not blocks(fence) then return false end
    if fence.action ~= '' and not (action ~= '' and action_matches(fence.action, action)) then return false end
    return names_all(fence, marks)
  end)
end

-- The grant, or nil and the refusal: sure clock, own grant, every run of the path active, every grant of the chain
-- alive, no fence. `intent` is what it is to be used for, if for an action; `action` the one on record, if any. The
-- grant's own expiry is asked where a new decision is made, so that a replay is answered.
local function authority(intent, action)
  local unsure = clock_unsure()
  if unsure then return nil, unsure end
  local grant, refusal = own_grant(intent)
  if not grant then return nil, refusal end
  local reason, details = ended(PATH, RUNS_AT, RUN_ID, OWNERS)
  if not reason then reason, details = chain_broken(grant) end
  if not reason and ANY_FENCE then reason, details = fenced(intent and intent.action or '') end
  if not reason then return grant end
  -- Nothing is known of who asks, so nothing is added, and no line is written.
  if reason == 'GRANT_UNKNOWN' then return nil, refused(reason, details) end
  if action and redis.call('HGET', RECORD, 'fence') ~= '0' then details.prior_decision = 'PERMITTED' end
  return nil, refuse(reason, intent, details)
end
