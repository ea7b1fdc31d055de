-- What cancel and finish share: an end that comes when the journal was let go of, or was never begun.

-- Write an entry where the journal may have to be begun anew; it goes when the run's records would have gone.
local function write_late_entry(journal, keep_until, number, kind, ...)
  local words = entry(number, kind, ...)
  if not redis.call('XADD', journal, 'NOMKSTREAM', unpack(words)) then
    redis.call('XADD', journal, unpack(words))
    redis.call('PEXPIREAT', journal, keep_until)
  end
end
