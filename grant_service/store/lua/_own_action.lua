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

-- Find the budgets that applied, of whatever of the path and the chain is still there; what is gone holds nothing.
local function find_budgets(grant)
  for i, link in ipairs(PATH) do
    local key = KEYS[RUNS_AT + i - 1]
    local budgets = redis.call('HGET', key, 'budgets') or ''
    if budgets ~= '' then OWNERS[#OWNERS + 1] = { kind = 'run', id = link, key = key, text = budgets } end
  end
  for i = 1, #LINKS do
    local one = i == #LINKS and grant or grant_above(i)
    if one then add_owner(i, one) end
  end
  open_budgets()
end
