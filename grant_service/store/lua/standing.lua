-- standing.lua: tell the store's epoch, time and last number. It writes, so that its answer proves that the store can;
-- when there is no room left, it is run again as one of the scripts that may use the last.
-- KEYS  meta
-- ARGV  nonce
-- ANSWERS  STANDING 0 epoch now seq | UNFIT

redis.call('HSET', META, 'now', text(NOW))
return { 'STANDING', NONCE, '0', EPOCH, text(NOW), text(seq) }
