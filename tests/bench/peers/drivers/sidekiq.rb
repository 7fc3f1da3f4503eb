# Drives Sidekiq's client: submit single|bulk N.
require 'json'
require_relative 'sidekiq_jobs'

BATCH = 1000
PAYLOAD = 'x' * 100

mode = ARGV[1]
count = ARGV[2].to_i
now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }

Sidekiq.redis(&:ping)
start = now.call
if mode == 'single'
  count.times { Noop.perform_async(PAYLOAD) }
else
  (0...count).step(BATCH) do |first|
    Sidekiq::Client.push_bulk('class' => Noop, 'args' => [[PAYLOAD]] * [BATCH, count - first].min)
  end
end
puts JSON.generate(seconds: now.call - start)
