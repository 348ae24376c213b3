require 'a'
module M
class A < B
  include C
  attr_accessor :x
  def self.f(a, b = 1, *c, k: 2, &d)
    return a if b
    x = "a#{b + 1}c"
    @y += 1
  rescue E => e
    g
  ensure
    h
  end # ride
  private
  def y?; end
end
end
if a then b elsif c
  d
else
  e
end
case x
when 1, 2
  a
else b
end
xs.each do |i, j|
  puts i
end
ys.map { |z| z + 1 }
begin
  a
rescue E, F => e
  b
else
  c
ensure
  d
end
while x do y end
for i in 1..3
 p i
end
h = { a: 1, :b => 2, "c" => %w[a b] }
x = <<~H
  a
H
