-- What open, delegate and cancel share: writing a run whole.

-- Write every field of a run and answer them; those not named are as in a run that nobody has opened or ended.
local function put_run(key, run_id, given)
  local fields = {
    run = run_id, parent = '', ancestors = '', subject = '', agent = '', tenant = '', labels = '', state = 'ACTIVE',
    epoch = EPOCH, open_time = '0', open_seq = '0', ttl_ms = '0', deadline = '0', keep_until = '0', end_reason = '',
    end_actor = '', end_note = '', end_tag = '', end_time = '0', end_seq = '0', end_epoch = '',
    actions = '0', refusals = '0', marks = '', budgets = '', spendings = '0', delegations = '0',
  }
  for name, value in pairs(given) do fields[name] = value end
  redis.call('HSET', key, unpack(flatten(fields)))
  return fields
end
