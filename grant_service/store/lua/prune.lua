-- prune.lua: take the duties that are not, or no longer, open off a list. Nothing can be put there in between.
-- KEYS  meta, list, the duties
-- ARGV  nonce, the name of each on the list
-- ANSWERS  PRUNED 0 | UNFIT

local gone = {}
for i = 2, #ARGV do
  if redis.call('HGET', KEYS[i + 1], 'state') ~= 'OPEN' then gone[#gone + 1] = ARGV[i] end
end
for _, name in ipairs(gone) do redis.call('ZREM', KEYS[2], name) end
return answer('PRUNED', '0')
