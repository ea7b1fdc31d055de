-- What cancel and a budget that runs out share: ending a run for good.

-- Write into a run's record that it is cancelled; from then on it stays for ever.
local function put_cancelled(key, number, reason, actor, note, tag)
  redis.call('HSET', key, 'state', 'CANCELLED', 'end_reason', reason, 'end_actor', actor, 'end_note', note,
    'end_tag', tag, 'end_time', text(NOW), 'end_seq', number, 'end_epoch', EPOCH)
  redis.call('PERSIST', key)
end
