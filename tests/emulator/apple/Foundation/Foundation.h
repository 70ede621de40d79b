/* Foundation.h - the part of Apple's Foundation that the Metal device uses, declared as Apple documents it.
 *
 * The host code is compiled against it where Apple's SDK is not: for an Apple target to see that it compiles
 * (make check-apple), and for this system, where fake_foundation.m implements it. */
#ifndef DS4_TESTS_APPLE_FOUNDATION_H
#define DS4_TESTS_APPLE_FOUNDATION_H

#ifndef __MAC_OS_X_VERSION_MAX_ALLOWED
#define __MAC_OS_X_VERSION_MAX_ALLOWED 150000
#endif

typedef unsigned long NSUInteger;
typedef long          NSInteger;
typedef _Bool         BOOL;
#define YES ((BOOL)1)
#define NO  ((BOOL)0)
#define nil ((id)0)

@protocol NSObject
- (id)retain;
- (void)release;
- (id)autorelease;
- (BOOL)respondsToSelector:(SEL)selector;
@end

#if __has_attribute(objc_root_class)
__attribute__((objc_root_class))
#endif
@interface NSObject <NSObject> {
  @public
    Class    isa;
    unsigned retained_;
}
+ (id)alloc;
+ (id)new;
- (id)init;
- (void)dealloc;
@end

@interface NSAutoreleasePool : NSObject {
    id       *object_;
    unsigned  n_, capacity_;
    id        outer_;
}
- (void)drain;
@end

@interface NSString : NSObject {
    char *text_;
}
+ (id)stringWithUTF8String:(const char *)text;
- (const char *)UTF8String;
@end

@interface NSError : NSObject {
    NSString *text_;
}
- (NSString *)localizedDescription;
@end

#endif
