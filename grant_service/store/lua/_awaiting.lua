-- What approve and deny share.

-- Refuse what is said about an action that does not, or no longer, wait for a person.
local function not_awaiting(action)
  local lapsed = action.state == 'AWAITING_APPROVAL' and NOW >= tonumber(action.expire_time)
  if action.state == 'PREPARED' and action.said_seq ~= '0' then lapsed = NOW >= tonumber(action.said_until) end
  return refused('NOT_AWAITING', { run = action.run, op = action.op, state = lapsed and 'DENIED' or action.state })
end
