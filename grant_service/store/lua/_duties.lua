-- What the verbs share that may end any duty of an action.
-- KEYS  from REST on: the run's list of open undos, the lists of what can be called off and asked, and the action's duties
--       UNDO, CALL_OFF (MAX_JOBS of them) and ASK

LISTS = { UNDO = KEYS[REST], CALL_OFF = KEYS[REST + 1], ASK = KEYS[REST + 2] }
DUTIES = { UNDO = KEYS[REST + 3], ASK = KEYS[REST + 4 + MAX_JOBS] }
for job = 0, MAX_JOBS - 1 do DUTIES[which('CALL_OFF', job)] = KEYS[REST + 4 + job] end

-- What there is no use in any more: asking, once one knows; all else, if nothing happened.
local MOOT = { SUCCEEDED = { ASK = true }, FAILED = { ASK = true, CALL_OFF = true, UNDO = true } }

local function is_moot(kind, outcome)
  return MOOT[outcome] and MOOT[outcome][kind] or false
end

-- Write that a duty is no longer open; the other arguments are names and values of its record.
local function end_duty(which, ...)
  redis.call('HSET', DUTIES[which], ...)
  unlist(which)
end

-- The jobs of an action that are on record.
local function handles_of(action)
  local handles = {}
  for handle in string.gmatch(action.handles, '[^\n]+') do handles[#handles + 1] = handle end
  return handles
end

-- The open duties of an action that its outcome makes moot.
local function moot_by(outcome, action)
  local made, moot = {}, {}
  if action.probe ~= '' then made[1] = 'ASK' end
  if action.compensation ~= '' then made[#made + 1] = 'UNDO' end
  for job = 0, math.min(#handles_of(action), MAX_JOBS) - 1 do made[#made + 1] = which('CALL_OFF', job) end
  for _, one in ipairs(made) do
    if is_moot(kind_of(one), outcome) and redis.call('HGET', DUTIES[one], 'state') == 'OPEN' then moot[#moot + 1] = one end
  end
  return moot
end

local function close_moot(moot)
  for _, which in ipairs(moot) do end_duty(which, 'state', 'MOOT') end
end
