-- What resolve and complete share: an outcome that somebody else found out.

-- Write what became of an action, and answer the number of its line. `moot` are the duties that this ends. Where the
-- permit's line is lost this one stands in for it: what is lost was the last that was written.
local function put_resolved(action, outcome, actor, evidence, moot)
  local number = append(JOURNAL, 'RESOLVED', 'op', OP, 'outcome', outcome, 'actor', actor, 'evidence', evidence)
  redis.call('HSET', ACTION, 'state', outcome, 'settle_seq', number, 'resolved', '1',
    'fence', action.fence == '0' and number or action.fence)
  close_moot(moot)
  return number
end
