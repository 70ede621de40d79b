/* fake_foundation.m - the part of Foundation that Foundation.h here declares, on the GNU runtime,
 * and objects of Metal that only hold values. */
#pragma clang diagnostic ignored "-Wdeprecated-objc-isa-usage"
#import <Metal/Metal.h>

#include <stdlib.h>
#include <string.h>

id    class_createInstance(Class of, size_t more_bytes);
id    object_dispose(id object);
void *class_getInstanceMethod(Class of, SEL selector);

static _Thread_local NSAutoreleasePool *top_pool;

/* The leak checker asks for this by name. The runtime keeps its tables of classes until the process ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libobjc.so\n";
}

@implementation NSObject
+ (id)alloc
{
    NSObject *o = class_createInstance(self, 0);
    o->retained_ = 1;
    return o;
}
+ (id)new
{
    return [[self alloc] init];
}
- (id)init
{
    return self;
}
- (void)dealloc
{
    object_dispose(self);
}
- (id)retain
{
    __atomic_fetch_add(&retained_, 1, __ATOMIC_SEQ_CST);
    return self;
}
- (void)release
{
    if (retained_ == 0) abort();        /* once too often */
    if (__atomic_fetch_sub(&retained_, 1, __ATOMIC_SEQ_CST) == 1) [self dealloc];
}
- (BOOL)respondsToSelector:(SEL)selector
{
    return class_getInstanceMethod(isa, selector) != NULL;
}
- (id)autorelease
{
    if (!top_pool) abort();             /* a leak on Apple's systems */
    [(id)top_pool addObject:self];
    return self;
}
- (void)addObject:(id)object
{
    (void)object;
    abort();
}
@end

@implementation NSAutoreleasePool
- (id)init
{
    outer_ = (id)top_pool;
    top_pool = self;
    return self;
}
- (void)addObject:(id)object
{
    if (n_ == capacity_) {
        capacity_ = capacity_ ? 2 * capacity_ : 16;
        object_ = realloc(object_, capacity_ * sizeof *object_);
        if (!object_) abort();
    }
    object_[n_++] = object;
}
- (void)drain
{
    for (unsigned i = 0; i < n_; i++) [object_[i] release];
    free(object_);
    top_pool = (NSAutoreleasePool *)outer_;
    [self dealloc];
}
- (void)release
{
    [self drain];
}
@end

@implementation NSString
+ (id)stringWithUTF8String:(const char *)text
{
    NSString *s = [self alloc];
    s->text_ = strdup(text);
    return [s autorelease];
}
- (const char *)UTF8String
{
    return text_;
}
- (void)dealloc
{
    free(text_);
    [super dealloc];
}
@end

@implementation NSError
+ (id)errorWithText:(const char *)text
{
    NSError *e = [self alloc];
    e->text_ = [[NSString stringWithUTF8String:text] retain];
    return [e autorelease];
}
- (NSString *)localizedDescription
{
    return text_;
}
- (void)dealloc
{
    [text_ release];
    [super dealloc];
}
@end

/* ---- descriptions, of Metal ---- */

@implementation MTLComputePipelineDescriptor
- (void)setComputeFunction:(id<MTLFunction>)function
{
    [(id)function retain];
    [function_ release];
    function_ = function;
}
- (void)setMaxTotalThreadsPerThreadgroup:(NSUInteger)n
{
    most_ = n;
}
- (void)setThreadGroupSizeIsMultipleOfThreadExecutionWidth:(BOOL)yes
{
    multiple_ = yes;
}
- (void)dealloc
{
    [function_ release];
    [super dealloc];
}
@end

@implementation MTLResidencySetDescriptor
@end
