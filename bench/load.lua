-- One script for every workload. Arguments: the method, the file with the body ("" for none), then "Name: value" headers.
-- Prints one line that load.py reads: requests, microseconds, bytes, p50 and p99 in microseconds, and the four error counts.

function init(args)
   wrk.method = args[1]
   if args[2] ~= "" then
      local file = assert(io.open(args[2], "rb"))
      wrk.body = file:read("*a")
      file:close()
   end
   for i = 3, #args do
      local name, value = args[i]:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration, summary.bytes,
      latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.timeout, e.status))
end
