-- What issue and delegate share: writing a grant.

-- The names and values of a grant that is new; `given` are those in which the two differ.
local function new_grant(given)
  local used = {}
  for i, scope in ipairs(given.scope_list) do used[i] = '0/' .. text(scope[3]) end
  return {
    'grant', given.grant, 'run', given.run, 'ancestors', given.ancestors, 'audience', given.audience, 'epoch', EPOCH,
    'scopes', given.scopes, 'used', table.concat(used, ','), 'issue_time', text(NOW), 'expire_time', given.expire_time,
    'issue_seq', given.number, 'ttl_ms', given.ttl_ms, 'root_seq', given.root_seq, 'chain', given.chain,
    'narrows', given.narrows, 'sealed', given.sealed, 'budgets', new_budgets(given.budgets), 'end_time', '0',
    'end_seq', '0', 'end_budget', '',
  }
end
