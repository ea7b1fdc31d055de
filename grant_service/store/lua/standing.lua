-- standing.lua: tell the store's epoch, time and last number. It writes, so that its answer proves that the store can.
-- KEYS  meta
-- ARGV  nonce
-- ANSWERS  STANDING 0 epoch now seq | UNFIT

redis.call('HSET', META, 'now', text(NOW))
return { 'STANDING', NONCE, '0', EPOCH, text(NOW), text(seq) }
