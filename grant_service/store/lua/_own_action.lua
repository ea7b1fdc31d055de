-- What settle and abandon share.

-- The action a tool reports on, with the fields named, and the grant, or nil and the refusal; it must have been prepared
-- under this grant.
local function own_action(...)
  local grant, refusal = own_grant(nil)
  if not grant then return nil, refusal end
  local action = read_action(...)
  if not action then return nil, refuse('ACTION_UNKNOWN') end
  if action.grant ~= GRANT_ID then return nil, refuse('WRONG_GRANT', action) end
  return action, grant
end
