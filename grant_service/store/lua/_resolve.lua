-- What resolve and complete share: an outcome that somebody else found out.

-- Write what became of an action, and answer the number of its line. `moot` are the duties that this ends.
local function put_resolved(outcome, actor, evidence, moot)
  local number = append(JOURNAL, 'RESOLVED', 'op', OP, 'outcome', outcome, 'actor', actor, 'evidence', evidence)
  redis.call('HSET', ACTION, 'state', outcome, 'settle_seq', number, 'resolved', '1')
  close_moot(moot)
  return number
end
