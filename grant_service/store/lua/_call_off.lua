-- What _path.lua needs to know.

local RUN_ID = ARGV[2]
