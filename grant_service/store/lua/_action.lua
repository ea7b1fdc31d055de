-- What prepare, commit, perform, settle and abandon share. The record of _tool.lua is the action.

local ACTION = RECORD

-- The action on record, as far as every verb needs it and with the fields named, or nil. What only some answers tell is
-- read for them.
local function read_action(...)
  return pick(ACTION, 'state', 'grant', 'action', 'resource', 'digest', 'scope', 'expire_time', 'said_until',
    'said_digest', 'probe', 'undo_until', ...)
end

local function settled(state)
  return state == 'SUCCEEDED' or state == 'FAILED' or state == 'UNKNOWN'
end

-- Refuse what a person said no to, or did not say yes to in time.
local function denied(action, cause)
  local said = redis.call('HMGET', ACTION, 'said_actor', 'said_note')
  return refuse('DENIED', action, { cause = cause, actor = said[1], note = said[2] })
end
