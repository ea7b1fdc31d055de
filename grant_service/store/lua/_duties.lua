-- What the verbs share that may end any duty of an action.
-- KEYS  from REST on: the run's list of open undos, the lists of what can be called off and asked, and the action's duties
--       UNDO, CALL_OFF and ASK

LISTS = { UNDO = KEYS[REST], CALL_OFF = KEYS[REST + 1], ASK = KEYS[REST + 2] }
DUTIES = { UNDO = KEYS[REST + 3], CALL_OFF = KEYS[REST + 4], ASK = KEYS[REST + 5] }

-- What there is no use in any more: asking, once one knows; all else, if nothing happened.
local MOOT = { SUCCEEDED = { 'ASK' }, FAILED = { 'ASK', 'CALL_OFF', 'UNDO' }, UNKNOWN = {} }

-- Write that a duty is no longer open; the other arguments are names and values of its record.
local function end_duty(kind, ...)
  redis.call('HSET', DUTIES[kind], ...)
  unlist(kind)
end

-- The kinds of open duties of an action that its outcome makes moot.
local function moot_by(outcome, action)
  local made_for, moot = { UNDO = action.compensation, CALL_OFF = action.handle, ASK = action.probe }, {}
  for _, kind in ipairs(MOOT[outcome]) do
    if made_for[kind] ~= '' and redis.call('HGET', DUTIES[kind], 'state') == 'OPEN' then moot[#moot + 1] = kind end
  end
  return moot
end

local function close_moot(moot)
  for _, kind in ipairs(moot) do end_duty(kind, 'state', 'MOOT') end
end
