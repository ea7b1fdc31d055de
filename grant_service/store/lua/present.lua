-- present.lua: write down that a sidecar is there, and forget those that were not for a while.
-- KEYS  meta, sidecars
-- ARGV  nonce, name, keep_ms
-- ANSWERS  PRESENT 0 | UNFIT

local keep = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(NOW - keep))
redis.call('ZADD', KEYS[2], text(NOW), ARGV[2])
redis.call('PEXPIREAT', KEYS[2], text(NOW + keep))
return answer('PRESENT', '0')
