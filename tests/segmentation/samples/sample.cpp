#include <iostream>
using namespace std;
namespace N { template <typename T> class A : public B<T> { public: A(int x) : x_(x), y{2} { } virtual ~A() = default; int get() const override { return this->x_; } private: int x_ = 0; std::vector<int> v; }; }
int main() { auto f = [&](int a) -> int { return a; }; try { a(); } catch (const E& e) { } for (auto& x : xs) { cout << x << endl; } std::sort(v.begin(), v.end()); new Foo(1); delete p; int* q = nullptr; A<int>::b(); static_cast<int>(x); if (int y = 1; y) {} else {} throw E("x"); string s = R"(a)"; }
int A::get() const { return 1; }
extern "C" { int z(); }
enum class Color { RED, GREEN };
