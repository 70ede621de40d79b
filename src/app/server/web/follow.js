// follow.js - a log that stays at its end while it grows, until somebody scrolls up.

export class Follower {
    // log scrolls; content grows in it; jump is a button that leads to the end.
    constructor(log, content, jump) {
        this.log = log;
        this.jump = jump;
        this.following = true;
        this.lastTop = 0;
        log.addEventListener("scroll", () => this.scrolled(), { passive: true });
        jump.addEventListener("click", () => this.toEnd());
        // What unfolds or arrives late moves the end too.
        new ResizeObserver(() => {
            if (this.following) log.scrollTop = log.scrollHeight;
            else jump.hidden = this.atEnd();
        }).observe(content);
    }

    atEnd() {
        return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
    }

    toEnd() {
        this.following = true;
        this.log.scrollTop = this.log.scrollHeight;
        this.jump.hidden = true;
    }

    // Only who scrolls up leaves the end: the text may have grown between a scroll and its
    // event.
    scrolled() {
        if (this.log.scrollTop < this.lastTop - 1) this.following = this.atEnd();
        else this.following ||= this.atEnd();
        this.lastTop = this.log.scrollTop;
        this.jump.hidden = this.following;
    }
}
