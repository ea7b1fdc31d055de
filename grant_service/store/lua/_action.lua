-- What prepare, commit, perform, settle and abandon share.
-- KEYS  meta, journal, grant, action, the runs of the path (root first, the action's own run last)
-- ARGV  nonce, verb, grant id, run id, ancestors (comma-separated, root first), peer, op_id; then the verb's own

local JOURNAL, GRANT, ACTION, RUN = KEYS[2], KEYS[3], KEYS[4], KEYS[#KEYS]
local VERB, GRANT_ID, RUN_ID, ANCESTORS, PEER, OP = unpack(ARGV, 2, 7)
local PATH = split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID

local KEPT = { 'op', 'grant', 'action', 'resource', 'rule', 'state', 'prior_decision', 'peer' }

-- Refuse, and leave a line in the run's journal: an attempt is evidence too.
local function refuse(reason, intent, more)
  local details = { run = RUN_ID, grant = GRANT_ID, op = OP }
  if intent then details.action, details.resource = intent.action, intent.resource end
  for name, value in pairs(more or {}) do details[name] = value end
  for name, value in pairs(details) do
    if value == '' then details[name] = nil end
  end
  local refusals = redis.call('HGET', RUN, 'refusals')
  if refusals then
    if tonumber(refusals) < MAX_REFUSALS_KEPT then
      local data = { 'verb', VERB, 'reason', reason }
      for _, name in ipairs(KEPT) do
        if details[name] then
          data[#data + 1] = name
          data[#data + 1] = details[name]
        end
      end
      append(JOURNAL, 'REFUSED', unpack(data))
    end
    redis.call('HINCRBY', RUN, 'refusals', 1)
  end
  return refused(reason, details)
end

-- The grant the token points to, or nil and the refusal: it must be present, and the caller's own.
local function own_grant(intent)
  local grant = read(GRANT)
  if not grant or grant.run ~= RUN_ID or grant.ancestors ~= ANCESTORS then
    return nil, refused('GRANT_UNKNOWN', { grant = GRANT_ID, run = RUN_ID })
  end
  if grant.audience ~= PEER then
    return nil, refuse('WRONG_AUDIENCE', intent, { audience = grant.audience, peer = PEER })
  end
  return grant
end

-- The grant, or nil and the refusal: sure clock, own grant, every run on the path active, this epoch. `action` is
-- the one on record, if any. The grant's own expiry is asked where a new decision is made, so that a replay is answered.
local function authority(intent, action)
  local unsure = clock_unsure()
  if unsure then return nil, unsure end
  local grant, refusal = own_grant(intent)
  if not grant then return nil, refusal end
  local reason, details = ended(PATH, 5, RUN_ID)
  if not reason and grant.epoch ~= EPOCH then
    reason, details = 'STORE_EPOCH', { run = RUN_ID }
  end
  if not reason then return grant end
  if action and tonumber(action.fence) > 0 then details.prior_decision = 'PERMITTED' end
  return nil, refuse(reason, intent, details)
end

-- The action a tool reports on, or nil and the refusal; it must have been prepared under this grant.
local function own_action()
  local grant, refusal = own_grant(nil)
  if not grant then return nil, refusal end
  local action = read(ACTION)
  if not action then return nil, refuse('ACTION_UNKNOWN') end
  if action.grant ~= GRANT_ID then return nil, refuse('WRONG_GRANT', action) end
  return action
end

local function settled(state)
  return state == 'SUCCEEDED' or state == 'FAILED' or state == 'UNKNOWN'
end

-- Refuse an action that is not, or no longer, waiting for its commit.
local function not_open(action)
  if action.state == 'PERMITTED' then return refuse('ALREADY_PERMITTED', action) end
  if settled(action.state) then return refuse('ALREADY_SETTLED', action, { state = action.state }) end
  if action.state == 'ABANDONED' then return refuse('ACTION_ABANDONED', action) end
  if NOW >= tonumber(action.expire_time) then return refuse('PREPARE_EXPIRED', action) end
end
